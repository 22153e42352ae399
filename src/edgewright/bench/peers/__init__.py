"""What people use today, run beside ours in a Python environment that the user names; see `environment`.

The scripts whose names end in `_script` are started by that Python, alone (`python -I script.py`): they import nothing of edgewright, and
what they import is never imported here. Ultralytics is AGPL-3.0; it stays on its side of the pipe.
"""
