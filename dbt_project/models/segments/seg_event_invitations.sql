{{ config(meta = {'push': {'to': ['mailchimp'], 'mode': 'mirror', 'max_removed_pct': 20, 'links': true}}) }}

-- People who chose to read invitations to events. Who stopped reading letters at all is left out until they open one again.
{{ readers_of('event_invitations') }}
