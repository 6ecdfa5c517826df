"""What a user asks for; each reads like a sentence."""
