#!/bin/sh
# What became of an LSF job, in the words that Snakemake expects.
case "$(bjobs -noheader -o stat "$1")" in
DONE) echo success ;;
EXIT) echo failed ;;
*) echo running ;; # also when LSF does not answer for a moment
esac
