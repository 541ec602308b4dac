"""How many accounts each shard has a right to, and who is handed one. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from orchestrator.cluster.board import Board, Peer
from orchestrator.cluster.deadlines import GATHER_SECONDS, PATIENCE_SECONDS


def level(total: int, capacities: Iterable[int]) -> int:
    """Return how many accounts a shard may have at the most, so that all have a place and no two differ much.

    Shards with less room are filled up, and the others share the rest. If there is not enough room, the
    answer is the largest capacity.

    Args:
        total: How many accounts there are.
        capacities: How many each shard takes.
    """
    rest, height = total, 0
    ordered = sorted(capacities)
    for index, capacity in enumerate(ordered):
        shards = len(ordered) - index
        step = min(capacity - height, -(-rest // shards))
        height += step
        rest -= step * shards
        if rest <= 0:
            break
    return height


def fair(board: Board) -> int:
    """Return the fair share of a willing shard; its capacity may be less."""
    willing = [peer for peer in board.peers if peer.report.willing]
    elsewhere = sum(peer.held for peer in board.peers if not peer.report.willing)
    total = sum(peer.held for peer in willing) + elsewhere + board.free + board.reserved
    return level(total, (peer.capacity for peer in willing))


def to_claim(board: Board, me: Peer, here: float) -> int:
    """Return how many accounts a shard claims now.

    What others have handed to it comes first. If nobody has claimed the others for long, whoever should have
    claimed them cannot, and the fair share does not count. A shard that has just come does not know yet who
    else comes, nor who was there to claim them.

    Args:
        board: The cluster.
        me: Who asks.
        here: For how many seconds it has its lease.
    """
    is_late = min(board.free_seconds, here) > PATIENCE_SECONDS
    share = me.capacity if is_late else min(fair(board), me.capacity)
    free = board.free if here >= GATHER_SECONDS else 0
    room = max(0, me.capacity - me.held) if me.report.willing else 0
    return min(room, board.reserved + max(0, min(free, share - me.held - board.reserved)))


def emptiest(board: Board, me: str, *, below: int | None = None) -> Peer | None:
    """Return the shard with the most room for one more account, None if no other has any.

    Args:
        board: The cluster.
        me: Who asks.
        below: Only one that has fewer accounts than that.
    """
    able = [
        peer
        for peer in board.peers
        if peer.name != me and peer.room > 0 and (below is None or peer.held + peer.coming < below)
    ]
    return min(able, key=lambda peer: (peer.held + peer.coming, peer.name), default=None)


def has_too_many(board: Board, me: Peer) -> Peer | None:
    """Return whom a shard hands one of its accounts, because it has too many; None if it has not.

    Only a move after which the two differ less is worth its while, so no account wanders for ever. While
    accounts without an owner wait, a shard is about to start some, or one may be lost, nobody hands on any:
    those come first.
    """
    if board.free or any(peer.report.failing_over or peer.is_silent for peer in board.peers):
        return None
    return emptiest(board, me.name, below=me.held - 1) if me.held > fair(board) else None
