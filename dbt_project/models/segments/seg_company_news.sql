{{ config(meta = {'push': {'to': ['mailchimp'], 'mode': 'mirror', 'max_removed_pct': 20, 'links': true}}) }}

-- People who chose to read news of the company. Who stopped reading letters at all is left out until they open one again.
{{ readers_of('company_news') }}
