"""Who has given a command: what people read, whatever the names of users, tokens and bots are."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.accounts import orderers
from orchestrator.system.redaction import redact

NAMES = {0: "root", 1000: "anna", 990: "orchestrator"}
USERS = st.integers(0, 2**32 - 2)


@pytest.mark.parametrize(
    ("user", "login", "said"),
    [
        (1000, None, "anna (1000)"),
        (1000, 1000, "anna (1000)"),
        (0, 1000, "anna (1000), as root"),
        (990, 1000, "anna (1000), as orchestrator"),
        (0, None, "root (0)"),
        (0, 0, "root (0)"),
        (70_001, None, "the user 70001"),
        (0, 70_001, "the user 70001, as root"),
        (70_001, 1000, "anna (1000), as the user 70001"),
        (1_458_401_105, None, "uid=1458401105"),
    ],
)
def test_a_person_is_named_by_the_log_in_and_the_rights(user: int, login: int | None, said: str) -> None:
    assert orderers.person(user, login, NAMES) == said
    assert redact(f"support: connected → stopped: stopped by {said}").endswith(said)


@given(USERS, st.none() | USERS, st.dictionaries(USERS, st.text()), st.text(), st.text(max_size=2000))
def test_names_are_short_and_printable_whatever_they_are(
    user: int, login: int | None, names: dict[int, str], name: str, reason: str
) -> None:
    names |= {user: name}
    for said in (
        orderers.person(user, login, names),
        orderers.token(name),
        orderers.token(name, of_page=True),
        orderers.bot(name),
    ):
        assert said
        assert said.isprintable()
        assert len(said) <= orderers.LONGEST
        assert orderers.with_who(reason, said).endswith(f"by {said}")


def test_a_client_is_named_by_its_token_and_a_bot_by_its_name() -> None:
    assert orderers.token("ops") == "the token ops"
    assert orderers.token("page-3f9a1c2d", of_page=True) == "the page session page-3f9a1c2d"
    assert orderers.bot("echo") == "the bot echo"


def test_who_has_caused_something_follows_its_reason() -> None:
    assert orderers.with_who(None, None) == ""
    assert orderers.with_who("pairing", None) == ": pairing"
    assert orderers.with_who("a new process", "anna (1000)") == ": a new process, by anna (1000)"
    assert orderers.with_who(None, "anna (1000)") == ": by anna (1000)"
    assert orderers.with_who(orderers.STOPPED, "anna (1000)") == ": stopped by anna (1000)"
    assert orderers.with_who(orderers.STOPPED, None) == ": stopped by an operator"
