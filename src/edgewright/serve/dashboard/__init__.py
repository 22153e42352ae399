"""The page that somebody keeps open all day: plain HTML, CSS and ES modules, served as they lie here.

dashboard.js asks /live once a second and /live/history every three; figures.js makes figures and words of them, and knows of no page;
cameras.js, parts.js, timeline.js and chart.js draw; previews.js asks for pictures, and only for those that somebody sees.
"""
