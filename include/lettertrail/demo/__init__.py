"""The demo: a sample site, sandbox services and a real Airflow on this machine, run from end to end by one command.

python -m lettertrail.demo up|stop|status
"""
