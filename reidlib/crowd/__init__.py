"""How the toy crowd is drawn: people, bodies, ink, cameras, places and pictures. `reidlib.toy` is the door."""
