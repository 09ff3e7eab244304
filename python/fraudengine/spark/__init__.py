"""The fold on Spark Structured Streaming: state in Spark's store, the same native code in executors.

Imported only where pyspark is (extra `spark`). `job.py` puts the query together, `reading.py` and `stages.py`
are what runs in the executors, `kafka_sink.py` writes what was decided, `launch.py` starts it and prints how
others start it.
"""
