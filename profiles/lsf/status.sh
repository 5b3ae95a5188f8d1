#!/bin/sh
# What became of an LSF job, in the words that Snakemake expects.
case "$(bjobs -noheader -o stat "$1" 2>&1)" in
DONE) echo success ;;
EXIT) echo failed ;;
*"is not found"*) # ended long ago, an hour unless LSF is set otherwise; its history still knows how
	if bhist -n 0 -l -UF "$1" | grep -q "Done successfully"; then echo success; else echo failed; fi ;;
*) echo running ;; # also when LSF does not answer for a moment
esac
