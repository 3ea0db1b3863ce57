import pytest

from agent.errors import SpoolError
from agent.spool.gateway_binding import bind_gateway, check_gateway
from agent.uplink.credential import Credential
from mltm.contract.agent_api import Enrolled
from tests.agent.spool.build import SpoolKit

ONE, TWO = "1" * 32, "2" * 32


def enrolled(gateway_id: str, name: str = "mltm", generation: str = "g1") -> Enrolled:
    return Enrolled(
        agent_id="a", credential="secret", cluster="atena02", owner="ana", gateway_name=name, gateway_id=gateway_id,
        generation=generation,
    )  # fmt: skip


def credential(gateway_id: str, name: str = "mltm") -> Credential:
    return Credential.model_validate(enrolled(gateway_id, name).model_dump(exclude={"generation"}))


def bind_as_before(kit: SpoolKit, name: str = "mltm", generation: str = "") -> None:
    """What versions before the id left in a spool."""
    kit.spool.gateway_name.write_text(f"{name}\n")
    if generation:
        kit.spool.generation.write_text(generation)


def test_two_gateways_of_one_name_are_two(kit: SpoolKit) -> None:
    bind_gateway(kit.spool, enrolled(ONE), kit.clock)
    bind_gateway(kit.spool, enrolled(ONE), kit.clock)
    check_gateway(kit.spool, credential(ONE))
    message = r"belongs to the gateway 'mltm' \(id 11111111\).*'mltm' \(id 22222222\)"
    with pytest.raises(SpoolError, match=message):
        bind_gateway(kit.spool, enrolled(TWO), kit.clock)
    with pytest.raises(SpoolError, match=message):
        check_gateway(kit.spool, credential(TWO))
    check_gateway(kit.spool, credential(ONE))


def test_a_gateway_that_got_another_name_is_the_same(kit: SpoolKit) -> None:
    bind_gateway(kit.spool, enrolled(ONE), kit.clock)
    check_gateway(kit.spool, credential(ONE, "renamed"))
    bind_gateway(kit.spool, enrolled(ONE, "renamed"), kit.clock)


def test_a_gateway_that_was_restored_is_the_same(kit: SpoolKit) -> None:
    bind_gateway(kit.spool, enrolled(ONE), kit.clock)
    kit.spool.generation.write_text("g1")
    bind_gateway(kit.spool, enrolled(ONE, generation="g2"), kit.clock)


def test_a_credential_of_before_goes_on_with_its_spool_of_before(kit: SpoolKit) -> None:
    bind_as_before(kit, generation="g1")
    check_gateway(kit.spool, credential(""))
    with pytest.raises(SpoolError, match=r"'mltm'.*enrolled at the gateway 'other'"):
        check_gateway(kit.spool, credential("", "other"))


@pytest.mark.parametrize(("name", "generation"), [("mltm", ""), ("mltm", "g1"), ("its former name", "g1")])
def test_a_spool_of_before_is_bound_by_the_id_when_its_gateway_enrols_again(
    kit: SpoolKit, name: str, generation: str
) -> None:
    bind_as_before(kit, name, generation)
    bind_gateway(kit.spool, enrolled(ONE), kit.clock)
    check_gateway(kit.spool, credential(ONE))
    with pytest.raises(SpoolError, match="belongs to"):
        check_gateway(kit.spool, credential(TWO))


@pytest.mark.parametrize(("name", "generation"), [("mltm", "of another"), ("other", "")])
def test_a_spool_of_before_is_given_to_no_other_gateway(kit: SpoolKit, name: str, generation: str) -> None:
    bind_as_before(kit, name, generation)
    with pytest.raises(SpoolError, match=r"before gateways had ids.*remove .*generation and .*gateway and enrol again"):
        bind_gateway(kit.spool, enrolled(ONE), kit.clock)
    assert not kit.spool.gateway_id.exists()
    kit.spool.generation.unlink(missing_ok=True)
    kit.spool.gateway_name.unlink()
    bind_gateway(kit.spool, enrolled(ONE), kit.clock)
    check_gateway(kit.spool, credential(ONE))


def test_an_id_counts_only_where_both_have_one_or_none(kit: SpoolKit) -> None:
    bind_as_before(kit)
    with pytest.raises(SpoolError, match="Enrol at the spool's gateway again"):
        check_gateway(kit.spool, credential(ONE))
    bind_gateway(kit.spool, enrolled(ONE), kit.clock)
    with pytest.raises(SpoolError, match="Enrol at the spool's gateway again"):
        check_gateway(kit.spool, credential(""))


def test_a_check_binds_nothing(kit: SpoolKit) -> None:
    with pytest.raises(SpoolError, match=r"belongs to no gateway yet\. Enrol this agent on it"):
        check_gateway(kit.spool, credential(ONE))
    assert not kit.spool.gateway_id.exists()
    assert not kit.spool.gateway_name.exists()


def test_a_gateway_of_before_binds_by_its_name(kit: SpoolKit) -> None:
    bind_gateway(kit.spool, enrolled(""), kit.clock)
    check_gateway(kit.spool, credential(""))
    assert not kit.spool.gateway_id.exists()
