"""The kit for teachers: student versions, marks, slides and an offline folder, made from the chapters."""
