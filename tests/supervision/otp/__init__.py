"""The rules of OTP, one file a section, as tests of the public interface alone.

Every test names the section that it holds to in the first line of its docstring. Where the library differs from OTP,
the test says what holds here. All of them run on a clock that jumps: nothing waits, and every time is exact.

Where the rules stand (files of `src/prunella/supervision`; the cores decide and know no event loop):

======================================  =================================  ========================================
section                                 tests                              code
======================================  =================================  ========================================
processes: ending, names, monitors      trio_side/test_{registry,monitor}  `_life.py` (`_finish`), `_monitor.py`
child specification, supervisor flags   test_child_spec, test_flags        `_specs.py`, `_policies.py` (the checks)
start-up                                test_start                         `_ordered_core.py` (`_boot`, `_start`)
exits: who restarts                     test_exits                         `_policies.py` (`restarts_after`)
strategies                              test_strategies                    `_ordered_core.py` (`_attempt`)
restart intensity                       test_intensity                     `_policies.py` (`RestartWindow`)
failing restarts                        test_failing_restarts              `_ordered_core.py` (`_restart`)
shutdown, one child                     test_shutdown                      `_life.py` (`stop`), `_policies.py`
shutdown, whole supervisor              test_shutdown                      `_ordered_core.py` (`_decide`), `_tree.py`
auto_shutdown                           test_auto_shutdown                 `_ordered_core.py`
management                              test_management                    `_ordered_core.py` ("Calls"), `_handle.py`
DynamicSupervisor                       test_dynamic                       `_dynamic_core.py`
Registry                                trio_side/test_registry            `_registry.py`
Task.Supervisor                         trio_side/test_tasks               `_tasks.py`
introspection                           trio_side/test_tree_and_render     `_picture.py`, `_info.py`
reports                                 test_reports, trio_side            `_reports.py`, `_live.py` ("Reports")
what Trio makes different               trio_side                          `_life.py`, `_tree.py`, `_service.py`
======================================  =================================  ========================================
"""
