{{ identified_visits() }}
