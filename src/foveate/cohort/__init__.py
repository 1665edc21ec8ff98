"""Which slides there are: the samples sheet, the challenges' folders, the demo cohort."""
