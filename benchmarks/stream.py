"""Kafka to decisions: throughput of the stream beside a bare drain and a plain Python loop, and its latency.

See README.md beside this file for commands and figures.
"""
