"""The checks of a soak of a cluster find what they are for, and nothing else."""

from __future__ import annotations

import pytest

from benchmarks.cluster_soak import checks
from benchmarks.cluster_soak.kinds import KINDS
from benchmarks.cluster_soak.observed import Claim, Errand, Kept, Letter, Link, Struck, Write
from benchmarks.cluster_soak.plan import Strike

NAME = "account-000"


def struck(kind: str, began: float, ended: float, *hit: str, account: int | None = None) -> Struck:
    return Struck(Strike(1, 0.0, kind, (), account, {}, 0.0), began, ended, frozenset(hit or (NAME,)))


class TestTwoLinks:
    def found(self, links: list[Link], claims: list[Claim] = [], faults: list[Struck] = []) -> list[str]:  # noqa: B006
        return [one.what for one in checks.two_links(links, claims, faults)]

    def test_one_after_the_other_is_good(self) -> None:
        assert self.found([Link(NAME, 1, 10, 20), Link(NAME, 2, 20, 30), Link(NAME, 3, 31)]) == []

    def test_links_of_others_do_not_count(self) -> None:
        assert self.found([Link(NAME, 1, 10), Link("other", 2, 20)]) == []

    def test_a_change_of_the_owner_explains_one(self) -> None:
        claims = [Claim(19, NAME, 2, "shard-1")]
        links = [Link(NAME, 1, 10, 21), Link(NAME, 2, 20, 31), Link(NAME, 3, 30)]
        (what,) = self.found(links, claims)
        assert "connection 3 beside [2]" in what
        assert self.found(links[:2], claims) == []

    @pytest.mark.parametrize(
        "claim",
        [Claim(19, "other", 2, "shard-1"), Claim(19, NAME, 1, None), Claim(21, NAME, 2, "shard-1")],
        ids=["another account", "given up", "later"],
    )
    def test_what_is_no_such_change_explains_none(self, claim: Claim) -> None:
        assert len(self.found([Link(NAME, 1, 10, 21), Link(NAME, 2, 20)], [claim])) == 1

    def test_a_change_long_ago_explains_none(self) -> None:
        later = 20 + checks.CAUSE_SECONDS
        links = [Link(NAME, 1, 10, later + 2), Link(NAME, 2, later + 1)]
        assert len(self.found(links, [Claim(19, NAME, 2, "shard-1")])) == 1

    def test_a_fault_that_leaves_links_half_open_explains_one_of_whom_it_hits(self) -> None:
        links = [Link(NAME, 1, 10, 21), Link(NAME, 2, 20)]
        assert self.found(links, faults=[struck("freeze", 12, 19)]) == []
        assert len(self.found(links, faults=[struck("freeze", 12, 19, "other")])) == 1
        assert len(self.found(links, faults=[struck("kill", 12, 19)])) == 1

    def test_a_fight_is_found(self) -> None:
        claims = [Claim(9, NAME, 1, "shard-0"), Claim(19, NAME, 2, "shard-1")]
        links = [Link(NAME, number, 10 + number, 12.5 + number) for number in range(1, 10)]
        assert len(self.found(links, claims, [struck("freeze", 5, 19)])) == 5

    def test_an_older_link_that_stays_is_found(self) -> None:
        claims = [Claim(19, NAME, 2, "shard-1")]
        (what,) = self.found([Link(NAME, 1, 10), Link(NAME, 2, 20)], claims)
        assert "for more than" in what

    def test_they_are_counted(self) -> None:
        assert checks.overlaps([Link(NAME, 1, 10, 21), Link(NAME, 2, 20), Link(NAME, 3, 22)]) == 2
        assert checks.overlaps([Link(NAME, 1, 10, 15), Link("other", 2, 12), Link(NAME, 3, 22)]) == 0


class TestForeignLinks:
    CLAIMS = (Claim(1, NAME, 1, "shard-1"), Claim(10, NAME, 1, None), Claim(20, NAME, 2, "shard-2"))

    @pytest.mark.parametrize(
        ("shard", "at", "is_good"),
        [
            ("shard-1", 2, True),
            ("shard-1", 11, False),
            ("shard-1", 21, False),
            ("shard-2", 2, False),
            ("shard-2", 20, True),
            (None, 21, False),
        ],
    )
    def test_only_the_owner_may_have_a_link(self, shard: str | None, at: float, is_good: bool) -> None:
        links = [Link(NAME, 7, at, None, shard), Link("other", 8, at)]
        found = list(checks.foreign_links(links, self.CLAIMS))
        assert [one.check for one in found] == ([] if is_good else ["foreign link"])

    def test_claims_of_others_do_not_count(self) -> None:
        (found,) = checks.foreign_links([Link("other", 8, 2, None, "shard-1")], self.CLAIMS)
        assert found.account == "other"


class TestForeignWrites:
    A, B = "10.0.0.1:1/1", "10.0.0.2:1/2"

    def found(self, *writes: Write) -> list[str]:
        return [one.what for one in checks.foreign_writes(writes)]

    def write(
        self, shard: str | None, connection: str, owner: str | None, epoch: int, at: float = 1.0
    ) -> Write:
        return Write(at, NAME, "whatsmeow_sessions", shard, connection, owner, epoch)

    def test_the_owner_may_write(self) -> None:
        assert (
            self.found(
                self.write("shard-0", self.A, "shard-0", 1),
                self.write("shard-1", self.B, "shard-1", 2),
                self.write("shard-0", "10.0.0.1:2/3", "shard-0", 3),
            )
            == []
        )

    def test_what_comes_before_the_fence_does_no_harm_and_is_counted(self) -> None:
        writes = [
            self.write("shard-0", self.A, "shard-0", 1),
            self.write("shard-0", self.A, None, 1),
            self.write("shard-0", self.A, "shard-1", 2),
            self.write("shard-1", self.B, "shard-1", 2),
        ]
        assert self.found(*writes[:1], *writes[2:]) == []
        assert checks.late_writes(writes) == 2

    def test_what_comes_once_the_new_owner_has_begun_is_found_once(self) -> None:
        late = self.write("shard-0", self.A, "shard-1", 2)
        (what,) = self.found(
            self.write("shard-0", self.A, "shard-0", 1),
            self.write("shard-1", self.B, "shard-1", 2),
            late,
            late,
        )
        assert "whatsmeow_sessions by shard-0" in what

    def test_an_earlier_process_of_the_same_machine_is_found(self) -> None:
        (what,) = self.found(
            self.write("shard-0", self.A, "shard-0", 1),
            self.write("shard-0", "10.0.0.1:9/9", "shard-0", 2),
            self.write("shard-0", self.A, "shard-0", 2),
        )
        assert "an earlier process of shard-0" in what

    def test_a_stranger_is_found(self) -> None:
        (what,) = self.found(self.write(None, "127.0.0.1:1/1", "shard-0", 1))
        assert "no shard has" in what

    def test_nobody_may_write_after_the_owner_has_given_the_account_up(self) -> None:
        # It was released: the links were closed before.
        (what,) = self.found(
            self.write("shard-0", self.A, "shard-0", 1), self.write("shard-0", self.A, None, 1)
        )
        assert "not its owner any more" in what


class TestMessages:
    LETTERS = (Letter("A", NAME, 1.0), Letter("B", NAME, 2.0), Letter("C", NAME, 3.0), Letter("D", NAME, 4.0))

    def test_each_is_stored_once_or_told(self) -> None:
        kept = Kept(
            {(NAME, "A"): 1, (NAME, "B"): 2, ("other", "D"): 1}, frozenset({(NAME, "C"), (NAME, "A")})
        )
        fate = checks.fate(self.LETTERS, kept)
        assert (fate.sent, fate.stored, fate.reported) == (4, 2, 1)
        assert [one.check for one in checks.lost_letters(fate)] == ["message lost", "message twice"]
        assert (fate.missing, fate.doubled) == ((self.LETTERS[3],), (self.LETTERS[1],))

    @pytest.mark.parametrize(
        ("state", "arrived", "check"),
        [
            ("sent", 1, None),
            ("sent", 0, "not sent"),
            ("sent", 2, "sent twice"),
            ("unknown", 0, None),
            ("unknown", 1, None),
            ("unknown", 2, "sent twice"),
            ("failed", 0, None),
            ("failed", 1, "sent after all"),
            ("expired", 0, None),
            ("queued", 0, "not sent"),
            ("sending", 1, "sent after all"),
            (None, 0, "row lost"),
            (None, 1, "row lost"),
        ],
    )
    def test_a_row_says_what_became_of_its_text(
        self, state: str | None, arrived: int, check: str | None
    ) -> None:
        errand = Errand(NAME, 7, "errand 1", "+1")
        kept = Kept(rows={} if state is None else {(NAME, 7): state, ("other", 7): "sent"})
        found = [one.check for one in checks.lost_errands([errand], kept, {"errand 1": arrived})]
        assert found == ([] if check is None else [check])

    def test_of_what_nobody_was_told_only_a_second_text_counts(self) -> None:
        errand = Errand(NAME, None, "errand 1", "+1")
        assert [list(checks.lost_errands([errand], Kept(), {"errand 1": count})) for count in (0, 1)] == [
            [],
            [],
        ]
        assert [one.check for one in checks.lost_errands([errand], Kept(), {"errand 1": 2})] == ["sent twice"]


class TestBack:
    def back(self, links: list[Link], *faults: Struck, end: float = 1000.0) -> list[checks.Back]:
        return checks.backs(links, faults, end)

    def test_the_first_new_link_counts(self) -> None:
        (back,) = self.back([Link(NAME, 1, 5), Link(NAME, 2, 25), Link(NAME, 3, 27)], struck("kill", 10, 11))
        assert (back.seconds, back.alone, back.limit) == (15, True, KINDS["kill"].within)
        assert list(checks.late([back], 0.0)) == []

    def test_late_and_never_are_found(self) -> None:
        found = self.back([Link(NAME, 1, 5), Link(NAME, 2, 41)], struck("kill", 10, 11, NAME, "other"))
        assert [one.seconds for one in found] == [31, None]
        assert [one.account for one in checks.late(found, 0.0)] == [NAME, "other"]
        assert [one.account for one in checks.late(found, 5.0)] == ["other"]

    def test_a_link_of_before_the_end_counts_only_if_it_lasts(self) -> None:
        fault = struck("database-away", 10, 30)
        (back,) = self.back([Link(NAME, 1, 11, 20), Link(NAME, 2, 40)], fault)
        assert back.seconds == 10
        (back,) = self.back([Link(NAME, 1, 11)], fault)
        assert back.seconds == 0

    def test_who_may_stay_connected_is_not_waited_for(self) -> None:
        assert self.back([Link(NAME, 1, 5)], struck("nap", 10, 12)) == []

    def test_another_fault_makes_the_limit_longer(self) -> None:
        first, second = struck("kill", 10, 11), struck("freeze", 25, 45, "other")
        (back, _) = self.back([Link(NAME, 1, 5), Link(NAME, 2, 50), Link("other", 3, 50)], first, second)
        assert (back.seconds, back.alone, back.limit) == (40, False, 25 + 30 - 10)
        assert list(checks.late([back], 0.0)) == []

    def test_a_fault_of_another_account_or_of_another_time_does_not(self) -> None:
        faults = [
            struck("kill", 10, 11),
            struck("reset", 12, 12, "other", account=1),
            struck("kill", 300, 301, "other"),
        ]
        back = self.back([Link(NAME, 1, 5), Link(NAME, 2, 25), Link("other", 3, 301)], *faults)[0]
        assert back.alone
        assert back.limit == KINDS["kill"].within

    def test_what_nobody_has_waited_for_is_not_judged(self) -> None:
        assert self.back([Link(NAME, 1, 5)], struck("kill", 10, 11), end=20.0) == []
