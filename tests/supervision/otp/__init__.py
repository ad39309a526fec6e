"""The rules of OTP, one file a section, as tests of the public interface alone.

Every test names the section that it holds to in the first line of its docstring. Where the library differs from OTP,
the test says what holds here. All of them run on a clock that jumps: nothing waits, and every time is exact.
"""
