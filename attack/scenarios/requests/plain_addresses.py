"""A gateway's address without encryption, in the config and, proved, in the inbox: the credential is not sent there."""

import asyncio
from pathlib import Path

from attack.accounts import give
from attack.guards import replace
from attack.product import processes
from attack.product.house import House, open_house
from attack.product.real_agent import running_agent
from attack.trial import Scenario, Trial
from mltm.contract.proofs import render_address

__all__ = ["SCENARIO", "call_gateway"]

_URLS = (
    "http://gateway.invalid:8008", "http://localhost.invalid:8008", "http://127.0.0.1.invalid:8008", "HTTP://g.invalid",
    "http://192.0.2.1:9", "http://[::ffff:192.0.2.1]:9", "http://[2001:db8::1]:9", "http://0.invalid",
    "http://2130706433.invalid", "http://xn--localhost-.invalid",
)  # fmt: skip


def run(trial: Trial) -> None:
    """Each try is an address, in one of the two places."""
    with open_house(trial) as house:
        with running_agent(house, "ann") as agent:
            genuine = (agent.home / "agent.toml").read_text(encoding="utf-8")
        for number in range(trial.tries):
            url, is_proved = _URLS[number // 2 % len(_URLS)], number % 2 == 1
            _put(house, genuine, url, is_proved=is_proved)
            words = ["call", f"{__name__}:call_gateway", str(agent.home / "agent.toml")]
            said = processes.call(house.accounts["ann"], house.guard, words, home=agent.home)
            where = "in the inbox" if is_proved else "in the config"
            trial.tally.count("" if "is not encrypted" in said else f"{url} {where} was called: {said[:80]}")


def _put(house: House, genuine: str, url: str, *, is_proved: bool) -> None:
    """The config with this address; or the config without one, and the address in the inbox with a genuine proof."""
    lines = [line for line in genuine.splitlines() if not line.startswith("gateway_url")]
    config = house.folder / "ann" / "agent.toml"
    kept = [] if is_proved else [f'gateway_url = "{url}"']
    config.write_text("\n".join([*kept, *lines]) + "\n", encoding="utf-8")
    give(config, house.accounts["ann"], 0o600)
    of = house.spool("ann") / "agent"
    key = bytes.fromhex((of / "spool_key").read_text(encoding="ascii").strip())
    spool_id = (of / "spool_id").read_text(encoding="ascii").strip()
    (house.inbox("ann") / "address").write_bytes(render_address(url, spool_id, key))


def call_gateway(config: str) -> None:
    """In a process of the agent's account: one call of the gateway, as the agent makes it; print what came of it."""
    from agent.check.checks import _check_gateway
    from agent.errors import AgentError
    from agent.settings import read_settings

    try:
        print(asyncio.run(asyncio.wait_for(_check_gateway(read_settings(Path(config))), 10)).message)
    except AgentError as error:
        print(error)
    except TimeoutError:
        print("no answer in time")


def take_guard_out() -> None:
    """An agent that calls whatever address it has."""
    from agent.uplink import address

    replace(address, "_is_safe", lambda _: True)


SCENARIO = Scenario(
    threats="1.10",
    tries_to="have an agent send its credential over an address that is not encrypted",
    run=run,
    take_guard_out=take_guard_out,
    tries=2 * len(_URLS),
    control_tries=4,
)
