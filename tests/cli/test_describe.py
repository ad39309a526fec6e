"""What an agent is, told from its class."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest

SHOP = '''
from collections.abc import Mapping
from prunella import Agent, Context, Cron, on

class Shop(Agent, name="shop", version=3, tags=("a", "b"), schedules=(Cron("0 * * * *", "count", key="hourly"),)):
    """Sells things.

    Attributes:
        owner: whose it is.
    """

    owner: str
    stock: Mapping[str, int] = {}

    @on("bought", "returned", priority=5)
    def trade(self, item: str, number: int = 1, *, context: Context, note="", **rest):
        """Changes the stock.

        And more.
        """

    @on("count")
    def count(self): pass
'''.replace("= {}", "= __import__('prunella').Map()")

TEXT = """\
shop  (shop.Shop, version 3, tags: a, b)
Sells things.

fields:
  owner: str  (required)
      whose it is.
  stock: collections.abc.Mapping[str, int] = Map({})

handlers:
  bought, returned  (priority 5)
      trade(item: str, number: int = 1, context: Context, note='', **rest)
      Changes the stock.
  count
      count()

schedules:
"""


@pytest.fixture
def shop(command):
    return command.write("shop.py", SHOP)


@pytest.mark.parametrize("target", ["shop.py:Shop", "shop:Shop", "shop.py", "shop"])
def test_fields_handlers_and_schedules_are_told(command, shop, target):
    done = command.run("describe", target)
    assert (done.returncode, done.stderr) == (0, "")
    text, _, schedules = done.stdout.partition("schedules:\n")
    assert text + "schedules:\n" == TEXT
    assert "hourly" in schedules


def test_as_json_it_has_the_schemas(command, shop):
    done = command.run("describe", "shop.py:Shop", "--json")
    told = json.loads(done.stdout)
    assert (told["name"], told["version"], told["tags"], told["durable"]) == ("shop", 3, ["a", "b"], False)
    assert told["state"]["required"] == ["owner"]
    trade = told["handlers"]["trade"]
    assert (trade["patterns"], trade["priority"]) == (["bought", "returned"], 5)
    jsonschema.validate({"item": "tea", "number": 2}, trade["data"])
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"item": "tea", "number": "2"}, trade["data"])
    assert told["schedules"][0]["key"] == "hourly"


def test_the_page_shows_what_the_command_writes(command):
    root = Path(__file__).parents[2]
    told = command.run("describe", f"{root}/examples/helpdesk.py:Billing").stdout
    assert f"```text\n{told}```" in (root / "docs/reference/cli.md").read_text()


def test_the_agent_of_a_module_that_only_builds_the_tree_is_found(command, shop):
    command.write("main.py", "from prunella import AgentSpec", "from shop import Shop", "make = lambda: Shop")
    done = command.run("describe", "main:Shop")
    assert done.stderr == ""
    assert command.run("describe", "main").stdout == done.stdout


def test_an_agent_with_nothing_in_it(command):
    command.write("bare.py", "from prunella import Agent", "class Bare(Agent): pass")
    assert command.run("describe", "bare").stdout == "bare  (bare.Bare, version 1)\n\nno fields\n\nno handlers\n"


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("missing.py:Shop", "missing.py: no such file"),
        ("missing:Shop", "there is no module 'missing'"),
        ("shop.py:", "'shop.py:' is no target"),
        ("shop.py:Shep", "shop.py: has no 'Shep' (its agents: Shop)"),
        ("shop.py:Mapping", "shop.py: 'Mapping' is no class of agents, but the class Mapping (its agents: Shop)"),
        ("shop.py:__name__", "shop.py: '__name__' is no class of agents, but str"),
        ("shop.py:Agent", "shop.py: 'Agent' is no class of agents, the base of all agents"),
        ("two.py", "two.py: name one of its agents: A, B"),
        ("json", "json: has no agents"),
        ("bad.py:A", "bad.py cannot be loaded\nTraceback"),
    ],
)
def test_a_wrong_target_is_told(command, shop, target, message):
    command.write("two.py", "from prunella import Agent", "class A(Agent): pass", "class B(Agent): pass")
    command.write("bad.py", "from prunella import Agent", "class A(Agent):", "    x: list = []")
    done = command.run("describe", target)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"prunella: {message}")
