"""A network after training: its weights and classes, its files, its predictions and scores, and its inspection."""
