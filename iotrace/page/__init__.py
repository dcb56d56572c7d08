"""Profiles as one page for a browser, which needs neither a network nor a server.

`document` makes of profiles what the page shows, in one pass and in bounded memory; `assembly` makes the page of that,
the files in `assets` and the charting library, which `library` has. What comes from a profile is data in the page and
never markup: JSON in elements that the browser does not run, which `assets/*.js` shows as text alone.
"""
