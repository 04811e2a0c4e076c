"""The preference page: whoever has the link from a letter chooses what to get, or leaves.

links.py     signed links: which address a request is about, without the address in it
roster.py    a link for everybody letters go to, ready to be put into letters
choices.py   what the page shows and what was chosen, through two functions of the warehouse
page.py      the pages' words and looks, English and Russian
routes.py    the requests: GET shows, only POST changes
push.py      tells ESPs with preference categories what was chosen
applied.py   tells the models that there are new choices
"""
