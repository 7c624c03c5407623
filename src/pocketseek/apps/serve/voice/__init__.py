"""Talking through the server: sound in and out, over requests and over a socket."""
