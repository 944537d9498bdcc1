"""Finding things in the lake: predicates, similarity, clusters, rarity, coverage."""
