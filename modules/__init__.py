"""The import paths of the conversion guide; everything lives in `pointsman`."""
