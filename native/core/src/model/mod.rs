//! Stage 4, SCORE: the compiled ensemble behind one trait, with a reference walker as its oracle.
