"""What an operator deploys: images, compose file, Helm chart, monitoring, tunnels; and how they differ from what runs.

Owns the files a deployment is made of and the values they are filled with. Runs nothing and changes nothing that
runs; knows no driver, no edge and no daemon, only the formats of the files they read.
"""
