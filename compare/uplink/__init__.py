"""An edge and a site with a slow line between them, on one machine: what the line does to each tier."""
