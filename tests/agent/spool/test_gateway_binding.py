import pytest

from agent.errors import SpoolError
from agent.spool.gateway_binding import bind_gateway, check_gateway
from agent.uplink.credential import Credential
from mltm.contract.agent_api import Enrolled
from tests.agent.spool.build import Hands

ONE, TWO = "1" * 32, "2" * 32


def enrolled(gateway_id: str, name: str = "mltm", generation: str = "g1") -> Enrolled:
    return Enrolled(
        agent_id="a", credential="secret", cluster="atena02", owner="ana", gateway_name=name, gateway_id=gateway_id,
        generation=generation,
    )  # fmt: skip


def credential(gateway_id: str, name: str = "mltm") -> Credential:
    return Credential.model_validate(enrolled(gateway_id, name).model_dump(exclude={"generation"}))


def bind_as_before(hands: Hands, name: str = "mltm", generation: str = "") -> None:
    """What versions before the id left in a spool."""
    hands.spool.gateway_name.write_text(f"{name}\n")
    if generation:
        hands.spool.generation.write_text(generation)


def test_two_gateways_of_one_name_are_two(hands: Hands) -> None:
    bind_gateway(hands.spool, enrolled(ONE), hands.clock)
    bind_gateway(hands.spool, enrolled(ONE), hands.clock)
    check_gateway(hands.spool, credential(ONE))
    message = r"belongs to the gateway 'mltm' \(id 11111111\).*'mltm' \(id 22222222\)"
    with pytest.raises(SpoolError, match=message):
        bind_gateway(hands.spool, enrolled(TWO), hands.clock)
    with pytest.raises(SpoolError, match=message):
        check_gateway(hands.spool, credential(TWO))
    check_gateway(hands.spool, credential(ONE))


def test_a_gateway_that_got_another_name_is_the_same(hands: Hands) -> None:
    bind_gateway(hands.spool, enrolled(ONE), hands.clock)
    check_gateway(hands.spool, credential(ONE, "renamed"))
    bind_gateway(hands.spool, enrolled(ONE, "renamed"), hands.clock)


def test_a_gateway_that_was_restored_is_the_same(hands: Hands) -> None:
    bind_gateway(hands.spool, enrolled(ONE), hands.clock)
    hands.spool.generation.write_text("g1")
    bind_gateway(hands.spool, enrolled(ONE, generation="g2"), hands.clock)


def test_a_credential_of_before_goes_on_with_its_spool_of_before(hands: Hands) -> None:
    bind_as_before(hands, generation="g1")
    check_gateway(hands.spool, credential(""))
    with pytest.raises(SpoolError, match=r"'mltm'.*enrolled at the gateway 'other'"):
        check_gateway(hands.spool, credential("", "other"))


@pytest.mark.parametrize(("name", "generation"), [("mltm", ""), ("mltm", "g1"), ("its former name", "g1")])
def test_a_spool_of_before_is_bound_by_the_id_when_its_gateway_enrols_again(
    hands: Hands, name: str, generation: str
) -> None:
    bind_as_before(hands, name, generation)
    bind_gateway(hands.spool, enrolled(ONE), hands.clock)
    check_gateway(hands.spool, credential(ONE))
    with pytest.raises(SpoolError, match="belongs to"):
        check_gateway(hands.spool, credential(TWO))


@pytest.mark.parametrize(("name", "generation"), [("mltm", "of another"), ("other", "")])
def test_a_spool_of_before_is_given_to_no_other_gateway(hands: Hands, name: str, generation: str) -> None:
    bind_as_before(hands, name, generation)
    with pytest.raises(SpoolError, match=r"before gateways had ids.*remove .*generation and .*gateway and enrol again"):
        bind_gateway(hands.spool, enrolled(ONE), hands.clock)
    assert not hands.spool.gateway_id.exists()
    hands.spool.generation.unlink(missing_ok=True)
    hands.spool.gateway_name.unlink()
    bind_gateway(hands.spool, enrolled(ONE), hands.clock)
    check_gateway(hands.spool, credential(ONE))


def test_an_id_counts_only_where_both_have_one_or_none(hands: Hands) -> None:
    bind_as_before(hands)
    with pytest.raises(SpoolError, match="Enrol at the spool's gateway again"):
        check_gateway(hands.spool, credential(ONE))
    bind_gateway(hands.spool, enrolled(ONE), hands.clock)
    with pytest.raises(SpoolError, match="Enrol at the spool's gateway again"):
        check_gateway(hands.spool, credential(""))


def test_a_check_binds_nothing(hands: Hands) -> None:
    with pytest.raises(SpoolError, match=r"belongs to no gateway yet\. Enrol this agent on it"):
        check_gateway(hands.spool, credential(ONE))
    assert not hands.spool.gateway_id.exists()
    assert not hands.spool.gateway_name.exists()


def test_a_gateway_of_before_binds_by_its_name(hands: Hands) -> None:
    bind_gateway(hands.spool, enrolled(""), hands.clock)
    check_gateway(hands.spool, credential(""))
    assert not hands.spool.gateway_id.exists()
