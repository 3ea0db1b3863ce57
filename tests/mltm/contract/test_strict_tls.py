"""What only Python 3.13 and newer refuse is told from every other refusal, with a command that shows it."""

import re
import ssl
import subprocess
from pathlib import Path

import pytest

from mltm.contract.problems import explain_strictness
from tests.gateway.certificates import Authority, Pair, build_strict_context


def shake_hands(client: ssl.SSLContext, pair: Pair) -> None:
    """Both ends in memory. Raises ssl.SSLCertVerificationError."""
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server.load_cert_chain(pair.cert, pair.key)
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = (
        client.wrap_bio(back, there, server_hostname="127.0.0.1"),
        server.wrap_bio(there, back, server_side=True),
    )
    for end in ends * 3:
        try:
            end.do_handshake()
        except ssl.SSLWantReadError:
            continue


def refuse(client: ssl.SSLContext, pair: Pair) -> ssl.SSLCertVerificationError:
    with pytest.raises(ssl.SSLCertVerificationError) as caught:
        shake_hands(client, pair)
    return caught.value


def test_the_tests_own_authority_is_taken_by_new_pythons_too(tmp_path: Path) -> None:
    authority = Authority(tmp_path / "ca")

    shake_hands(build_strict_context(authority.cert), authority.issue("gateway"))


def test_an_authority_without_key_usage_is_explained(tmp_path: Path) -> None:
    authority = Authority(tmp_path / "ca", strict=False)
    error = refuse(build_strict_context(authority.cert), authority.issue("gateway"))

    said = explain_strictness(error, "https://gateway.example.org/v1")

    assert error.verify_message == "CA cert does not include key usage extension"
    assert said.startswith("Python 3.13 and newer check certificates strictly: an authority's needs keyUsage")
    assert said.endswith("-CAfile FILE -connect gateway.example.org:443 </dev/null")


def test_other_refusals_are_not_explained_so(tmp_path: Path) -> None:
    error = refuse(ssl.create_default_context(), Authority(tmp_path / "ca", strict=False).issue("gateway"))

    assert explain_strictness(error, "https://127.0.0.1:8008") == ""
    assert explain_strictness(ssl.CertificateError("the name does not match"), "https://127.0.0.1:8008") == ""


def test_what_the_docs_say_of_making_an_authority_is_good_enough(tmp_path: Path) -> None:
    page = (Path(__file__).resolve().parents[3] / "docs" / "certificates.md").read_text()
    (commands,) = re.findall(r"(?m)^    openssl req -x509 (?:.*\n)+?\n", page)
    local = commands.replace("DNS:gateway.example.org", "IP:127.0.0.1")
    subprocess.run(["sh", "-ec", local], cwd=tmp_path, check=True, capture_output=True, timeout=50)

    pair = Pair(tmp_path / "gateway.pem", tmp_path / "gateway.key")
    shake_hands(build_strict_context(tmp_path / "ca.pem"), pair)


@pytest.mark.parametrize(("strict", "code"), [(False, 1), (True, 0)])
def test_the_command_that_is_named_shows_it(tmp_path: Path, strict: bool, code: int) -> None:
    authority = Authority(tmp_path / "ca", strict=strict)
    pair = authority.issue("gateway")
    error = ssl.SSLCertVerificationError()
    error.verify_code = 92
    serve = ["openssl", "s_server", "-accept", "127.0.0.1:0", "-cert", str(pair.cert), "-key", str(pair.key)]
    with subprocess.Popen(serve, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        address = next(line.split()[1] for line in server.stdout if line.startswith("ACCEPT "))
        said = explain_strictness(error, f"https://{address}").replace("FILE", str(authority.cert))
        argv = ["sh", "-c", said[said.index("openssl") :]]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=30, check=False)
        server.kill()

    assert done.returncode == code, done.stderr
    assert ("CA cert does not include key usage extension" in done.stderr) is not strict
