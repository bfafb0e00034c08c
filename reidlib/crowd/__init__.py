"""How the toy crowd is drawn: people, bodies, ink, cameras and places. `reidlib.toy` is the door."""
