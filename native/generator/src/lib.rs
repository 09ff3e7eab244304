//! Seeded synthetic transactions: the same seed gives the same history for any number of threads.
