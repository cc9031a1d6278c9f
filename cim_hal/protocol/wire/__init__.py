"""What travels: messages, packets, the codec, errors, versions."""
