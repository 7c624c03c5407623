"""Samples: microphones, loudspeakers and files, rates and lengths of sound."""
