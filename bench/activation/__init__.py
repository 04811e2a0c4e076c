"""What pushes withstand: wrong plans, kills, ordinary days; and what a plan for a million costs."""
