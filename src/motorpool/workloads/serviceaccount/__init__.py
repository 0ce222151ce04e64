"""What every namespace has from its first moment: an account, and the CA to trust."""
