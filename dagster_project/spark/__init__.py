"""A Spark cluster, as far as the warehouse knows one: a session (`session`), and SQL carried over to it (`sql`).

Which sources and tables there are is not its business. Nothing of Spark is imported unless the settings name a cluster.
"""
