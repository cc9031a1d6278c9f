"""What the users of one machine share: sessions, locks, quotas."""
