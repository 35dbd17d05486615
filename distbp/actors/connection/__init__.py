"""The connection to Ray: a private local Ray or a cluster, its addresses, nodes, placement and jobs."""
