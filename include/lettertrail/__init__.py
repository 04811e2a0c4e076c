"""LetterTrail: which letter brought which deal, and who must not be written to again."""
