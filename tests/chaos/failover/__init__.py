"""Failover drills: a Patroni cluster of three machines on this one, under the attack's load and its judge.

    make failover                          every kind, with asynchronous and synchronous replication
    make failover SEED=7 ROUNDS=2          with the dice of an earlier run, each kind twice

A machine is a network namespace with an etcd, a Patroni and a Postgres of its own. Workers and stages run outside and
know the three by one database URL.
"""
