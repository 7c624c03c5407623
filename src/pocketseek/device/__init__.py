"""What machine is this? Reads facts; decides nothing."""
