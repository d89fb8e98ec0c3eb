#!/bin/bash
# Runs once on each machine that AWS Batch starts, before the ECS agent starts.

# A machine with an interruption notice gets no further job.
echo ECS_ENABLE_SPOT_INSTANCE_DRAINING=true >> /etc/ecs/ecs.config
# A worker that has to stop finishes the medium in progress: half of the two minutes' notice.
echo ECS_CONTAINER_STOP_TIMEOUT=60s >> /etc/ecs/ecs.config
# The next job on this machine does not pull the same image again.
echo ECS_IMAGE_PULL_BEHAVIOR=prefer-cached >> /etc/ecs/ecs.config

# Footage is staged on the instance storage, which is fast and free, and has no file system yet. A
# machine without it uses its root disk.
mkdir -p /scratch
disk=$(lsblk --nodeps --noheadings --paths --output NAME,MODEL | awk '/Instance Storage/ {print $1; exit}')
if [ -n "$disk" ]; then
  mkfs.xfs -f "$disk" && mount -o noatime "$disk" /scratch
fi
# The worker is not root.
chmod 1777 /scratch
