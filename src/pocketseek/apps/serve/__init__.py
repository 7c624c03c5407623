"""The HTTP server: an API that clients of OpenAI and DeepSeek already speak, and the place where the page lives.

`app.py` puts it together, `server.py` runs it. docs/serve.md says what is answered, refused and
ignored.
"""
