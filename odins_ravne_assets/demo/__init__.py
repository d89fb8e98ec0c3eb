"""Sample footage: small pictures, and the camera's folder that is generated from them."""
