"""Which machine runs which account, where several machines share one database. Pure.

A *shard* is one service. Its lease is a row of the database, with an end by the database's clock. A shard
whose lease has ended runs nothing any more, and the others may claim its accounts. `machine` is the machine
of one shard, `docs/decisions/020-leases.md` says why each part is there.
"""
