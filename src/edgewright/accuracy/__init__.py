"""Is it right, and is it still right?"""
