"""Which accounts a shard hands on, and to whom. Pure."""

from __future__ import annotations

from dataclasses import replace
from zlib import crc32

from orchestrator.cluster import share
from orchestrator.cluster.board import Board, Condition, Peer
from orchestrator.cluster.holdings import Held, Holdings, Stage


def plan(
    holdings: Holdings, board: Board, me: Peer, *, all_of_them: bool, one: bool, limit: int
) -> list[tuple[Held, str]]:
    """Return which accounts to hand on now, and to which shards.

    An account only leaves when another shard has room for it. Where it is, it may not run well, but without
    an owner it does not run at all. What an operator has moved here stays when accounts are only evened out.

    Args:
        holdings: The shard's accounts.
        board: The cluster.
        me: The shard.
        all_of_them: Whether the shard is to own nothing: it is drained, or cut off from WhatsApp.
        one: Whether it is time for another account if the shard has one too many.
        limit: How many accounts may be on their way at once.
    """
    moves: list[tuple[Held, str]] = []
    peers = {peer.name: peer for peer in board.peers}
    for leaving in holdings.at(Stage.DROPPING, Stage.RELEASING):
        if target := peers.get(leaving.target or ""):
            peers[target.name] = replace(target, coming=target.coming + 1)
    free = max(0, limit - len(holdings.at(Stage.DROPPING, Stage.RELEASING)))
    settled = sorted(holdings.at(Stage.ADOPTED, Stage.READY, Stage.CLAIMED), key=_order)
    for held in settled:
        target = peers.get(held.holding.target or "")
        if target is not None and target.name != me.name and target.room > 0 and len(moves) < free:
            moves.append((held, target.name))
            peers[target.name] = replace(target, coming=target.coming + 1)
    chosen = {held.holding.account for held, _ in moves}
    rest = [held for held in settled if held.holding.account not in chosen]
    if all_of_them:
        # A code may be about to be scanned, so its account comes last, but it comes.
        for held in rest:
            board = replace(board, peers=tuple(peers.values()))
            target = share.emptiest(board, me.name)
            if target is None or len(moves) >= free:
                break
            if held.condition is Condition.CODE and len(rest) > 1:
                continue
            moves.append((held, target.name))
            peers[target.name] = replace(target, coming=target.coming + 1)
    elif one and not moves and free == limit and (target := share.has_too_many(board, me)) is not None:
        idle = [held for held in rest if _is_idle(held) and held.holding.target != me.name]
        if idle:
            moves.append((idle[0], target.name))
    return moves


def _is_idle(held: Held) -> bool:
    return held.stage is Stage.ADOPTED and held.condition in (Condition.CONNECTED, Condition.RESTING)


def _order(held: Held) -> tuple[bool, int]:
    """Codes last, the others in an order that has nothing to do with how they are, so that all kinds move."""
    return held.condition is Condition.CODE, crc32(held.holding.account.encode())
