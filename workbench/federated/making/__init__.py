"""What every federated method is run by: how data are parted among clients, the channel, clients, and rounds."""
