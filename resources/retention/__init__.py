"""How stored footage ages: lifecycle rules, archive, usage."""
