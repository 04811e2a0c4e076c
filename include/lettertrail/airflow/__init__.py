"""The only sub-package that knows Airflow: connections → clients, errors → Airflow's, assets, dbt tasks."""
